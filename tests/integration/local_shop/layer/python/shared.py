"""What a layer brings."""

WORDS = "from the layer"
