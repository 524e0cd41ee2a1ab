"""Tables, progress bars and notebook representations; pictures are made by the folder `drawing`."""
