"""What schemas are refused for, when they are written."""

import marshmallow as ma
import pytest

from app.api.schema import ReportSchema, RowSchema


@pytest.mark.parametrize("base", [ReportSchema, RowSchema])
@pytest.mark.parametrize("hook", [ma.pre_load, ma.post_load, ma.pre_dump, ma.post_dump, ma.validates_schema])
def test_a_fast_schema_with_a_hook_is_refused_since_it_would_not_be_called(base, hook):
    with pytest.raises(TypeError, match="WithHook has hooks"):
        type("WithHook", (base,), {"change": hook(lambda schema, data, **_: data)})
