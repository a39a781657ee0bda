"""What calls of any kind need: who may ask, what is read of a request, what goes back."""
