"""From what members gave to what is answered: aligned, calibrated, fused. Plain numpy."""
