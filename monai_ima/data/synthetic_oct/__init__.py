"""Synthetic retinal OCT B-scans in the four classes of Kermany 2018, for demonstration and tests.

The classes differ in the signs that a grader looks for, on a retina whose position, tilt,
thickness, foveal pit, vessels, brightness and contrast vary alike in all of them:

* ``CNV``: an irregular pigment epithelial detachment and bright material under the retina, a broken
  retinal pigment epithelium (RPE), often subretinal fluid;
* ``DME``: a thickened retina with dark cysts, the foveal pit filled in, a smooth RPE;
* ``DRUSEN``: several small bumps of the RPE over deposits on Bruch's membrane;
* ``NORMAL``: smooth layers, an intact pit, a smooth RPE.
"""

from monai_ima.data.synthetic_oct.data_set import CLASSES, synthetic_bscan, write_synthetic_oct

__all__ = ["CLASSES", "synthetic_bscan", "write_synthetic_oct"]
