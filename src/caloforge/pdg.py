"""Kinds of particles: their names and the codes of the Particle Data Group."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NOT_KNOWN", "PDG_CODES", "kinds_of", "particle_name", "pdg_code"]

NOT_KNOWN = 0
"""The code of a particle whose kind is not known."""

# Name, as Geant4 writes it, code, and the word for many of them.
_TABLE = (
    ("e-", 11, "electrons"),
    ("e+", -11, "positrons"),
    ("mu-", 13, "muons"),
    ("mu+", -13, "antimuons"),
    ("gamma", 22, "photons"),
    ("pi0", 111, "neutral pions"),
    ("pi+", 211, "charged pions"),
    ("pi-", -211, "negative pions"),
    ("kaon0L", 130, "long-lived neutral kaons"),
    ("kaon0S", 310, "short-lived neutral kaons"),
    ("kaon+", 321, "charged kaons"),
    ("kaon-", -321, "negative kaons"),
    ("proton", 2212, "protons"),
    ("anti_proton", -2212, "antiprotons"),
    ("neutron", 2112, "neutrons"),
    ("anti_neutron", -2112, "antineutrons"),
)
PDG_CODES: dict[str, int] = {name: code for name, code, _ in _TABLE}
"""Code of each kind of particle by its name."""

_NAMES = {code: name for name, code, _ in _TABLE}
_MANY = {code: many for _, code, many in _TABLE}
_FEW = 3  # kinds that are named one by one
_ALSO = {"electron": 11, "positron": -11, "muon": 13, "photon": 22}


def pdg_code(particle: str) -> int:
    """Code of a particle from its name, "e-", or from the text of its code, "11".

    Raises:
        ValueError: for another text.
    """
    if particle in PDG_CODES:
        return PDG_CODES[particle]
    if particle in _ALSO:
        return _ALSO[particle]
    if particle.removeprefix("-").isdecimal():
        return int(particle)
    raise ValueError(
        f"there is no particle {particle!r} here: give a code of the Particle Data Group, or one "
        f"of {', '.join(PDG_CODES)}"
    )


def particle_name(code: int) -> str:
    """Name of a particle, or where it has none here its code as text.

    Raises:
        ValueError: for the code 0 of a particle that is not known.
    """
    if code == NOT_KNOWN:
        raise ValueError("the code 0 is that of a particle whose kind is not known")
    return _NAMES.get(int(code), str(int(code)))


def kinds_of(codes: Iterable[int]) -> str:
    """The words for particles of these kinds, such as "electrons and photons"."""
    kinds = sorted({int(code) for code in codes}, key=lambda code: (code == NOT_KNOWN, code))
    if kinds in ([], [NOT_KNOWN]):
        return "particles"
    if len(kinds) > _FEW:
        return f"particles of {len(kinds)} kinds"
    many = {**_MANY, NOT_KNOWN: "particles of no known kind"}
    return " and ".join(many.get(code, f"particles of code {code}") for code in kinds)
