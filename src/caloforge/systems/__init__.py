"""The generators, one folder each: configuration, presets and wiring."""
