"""LoRA on dense decoders by a forward and a backward pass written by hand.

    parts       which layers of a model are such, and what of them learns
    products    linear layers that read the same, as one product with their additions
    numbers     norms, rotations and the gated unit, and their gradients
    kernels     the same in Triton, for GPUs
    attention   each row's attention, and its gradients
    layer       a decoder layer from these, forward and backward, keeping as little as is wanted
    stack       all layers as one step of autograd
    body        the stack in place of a body's own forward pass, once it has shown that it does the same

`body.use` is all that others need.
"""
