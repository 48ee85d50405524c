"""A model as a graph of primitive operations, in which attention is a single operation.

`export_graph` makes it from any adapter, `check_graph` compares it with the untouched model, and
`Graph.description` is what a page's engine reads beside the weights.
"""
