"""The live what-if page. Without gradio only `what_if.py` and `figures.py` can be used."""
