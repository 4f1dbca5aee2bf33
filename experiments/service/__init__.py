"""The activation host as a service: many explainers and machines share one model (docs/serving.md).

wire says what goes over HTTP, app puts the parts together, run starts it, and remote is the feature
source that talks to it.
"""
