"""The built-in plugins, one module or folder each; a third party's can replace any of them."""
