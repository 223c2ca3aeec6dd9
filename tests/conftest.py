import pytest
from pathlib import Path
from hypothesis import settings
settings.register_profile('x',deadline=None); settings.load_profile('x')
@pytest.fixture
def shared_data(): return Path('/work/shared/data')
