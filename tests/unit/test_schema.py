"""What schemas are refused for, when they are written."""

import marshmallow as ma
import pytest

from app.api.schema import ReportSchema


@pytest.mark.parametrize("hook", [ma.pre_load, ma.post_load, ma.pre_dump, ma.post_dump, ma.validates_schema])
def test_a_schema_of_reports_with_a_hook_is_refused_since_it_would_not_be_called(hook):
    with pytest.raises(TypeError, match="WithHook has hooks"):
        type("WithHook", (ReportSchema,), {"change": hook(lambda schema, data, **_: data)})
