"""The live what-if page. Only `page.py` and `serving.py` need gradio, the extra `app`."""
