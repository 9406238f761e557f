"""What a user can do, one function a file: the commands, without their command line."""
