"""The live page of one explainer. Only `page.py` and `serving.py` need gradio (extra `app`)."""
