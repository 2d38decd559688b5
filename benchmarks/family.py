"""The family (fused sums, modulation, heads of a packed array, group, instance and batch normalization, moments)
beside a copy of the bytes that must move, NumPy's formulas, PyTorch and ONNX Runtime, as compare.py does it.

    python benchmarks/family.py                              # everything: some minutes on a quiet machine
    python benchmarks/family.py --quick                      # arrays that the second cache holds
    python benchmarks/family.py 'batch_*' channels_last      # the cases that have all of these words
    python benchmarks/family.py --threads 2 --json family.json

"x copy" is the time relative to the copy. For a fused sum that copies two arrays; moments write nothing, and may take
less than a copy.
"""

import compare
import family_cases

if __name__ == "__main__":
    compare.main(__doc__, family_cases.CASES, family_cases.SMALL, family_cases.PEERS, family_cases)
