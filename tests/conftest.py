"""What every test shares: Hypothesis without deadlines (a busy machine is no failure), repeatable from run to run."""

from hypothesis import settings

settings.register_profile("archipel", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("archipel")
