"""Networks, one file a family. Constructors take plain values only, since definitions name them."""
