"""Reports what access logs hold: ``python -m arkyn_reporter tail FILE...``"""
