"""What is wrong with a data set: its media opened, its rows and its splits compared.

Nothing here refuses: every finding is listed, and whoever asked decides what becomes of it. What
needs a model, looks of a frozen backbone and doubtful labels, is asked in `judge/`.
"""
