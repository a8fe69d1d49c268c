"""What crosses to the compiled engine: the binding, its events, its errors, header fields."""
