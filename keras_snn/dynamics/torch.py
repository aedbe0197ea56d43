"""The fused loop on PyTorch: one autograd node, updates in place."""

import torch


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, neuron, current, potential, mask):
        distance = torch.empty_like(current)
        for t in range(current.shape[1]):
            now = current[:, t].to(potential.dtype)
            integrated = neuron.integrate(potential, now)
            # The spike is read off the distance as it is stored, so that
            # forward and backward agree on it in half precision too.
            kept = (integrated - neuron.theta).to(current.dtype)
            after = neuron.after_spike(integrated, (kept > 0).to(now.dtype))
            if mask is not None:
                runs = mask[:, t, None]
                kept = torch.where(runs, kept, 0.0)
                after = torch.where(runs, after, potential)
            distance[:, t] = kept
            potential = after
        ctx.neuron = neuron
        ctx.save_for_backward(distance, mask)
        return (distance > 0).to(distance.dtype), potential

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, spikes_gradient, potential_gradient):
        neuron = ctx.neuron
        distance, mask = ctx.saved_tensors
        dtype = potential_gradient.dtype
        current_gradient = torch.empty_like(distance)
        for t in reversed(range(distance.shape[1])):
            gradient = neuron.adjoint(
                distance[:, t].to(dtype),
                spikes_gradient[:, t].to(dtype),
                potential_gradient,
            )
            before = neuron.k * gradient
            if mask is not None:
                runs = mask[:, t, None]
                gradient = torch.where(runs, gradient, 0.0)
                before = torch.where(runs, before, potential_gradient)
            current_gradient[:, t] = neuron.lam * gradient
            potential_gradient = before
        return None, current_gradient, potential_gradient, None


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    return _LIF.apply(neuron, current, potential, mask)
