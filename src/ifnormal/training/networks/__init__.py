"""Networks of the method: generator G, discriminator D and concept classifier R."""
