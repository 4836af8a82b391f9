"""The command ``monai-ima``: arguments in, a call of the library, text out."""
