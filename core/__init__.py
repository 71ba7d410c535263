"""The heart of Longshore: its words, the plugin contract, the controller and the command line.

Core imports nothing of the router, the hardware room or any plugin; they meet through hooks.
"""
