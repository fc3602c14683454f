"""Features of networks that were trained on other images, mostly on ImageNet."""
