"""Tables, progress bars and notebook representations; `mera.drawing` makes pictures."""
