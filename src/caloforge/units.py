"""Units: MeV and mm are one, everything inside the library is in these.

Multiply by a unit to enter, divide to leave: ``5 * GeV`` is 5000 (MeV), ``energy / GeV`` is a
number of GeV.
"""

MeV = 1.0
keV = 1e-3
eV = 1e-6
GeV = 1e3
TeV = 1e6

mm = 1.0
cm = 10.0
