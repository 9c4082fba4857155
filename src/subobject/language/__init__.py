"""Tokens + text -> text: a causal language model that reads subobjects.

``processing.SubobjectProcessor`` turns text with ``<image>`` places and images (or stored tokens) into model inputs,
``modeling.SubobjectForCausalLM`` is the network, ``adapters`` adds and loads peft adapters, ``captioner.Captioner`` is what
``subobject caption`` runs.
"""
