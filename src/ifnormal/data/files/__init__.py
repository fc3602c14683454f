"""Image files of users: finding, opening, decoding and checking them."""
