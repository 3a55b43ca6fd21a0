"""The spec: YAML → :class:`~provision.spec.model.Spec`, with every problem of the file at once."""
