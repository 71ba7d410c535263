from docs.blocks import REPOSITORY

from longshore.hardware.bounds import ImagesSettings

PAGE = (REPOSITORY / "docs" / "hardware.md").read_text()


def test_the_page_tells_each_setting_with_its_default() -> None:
    rows = [row.split(" | ") for row in PAGE.splitlines() if row.startswith("| `")]
    defaults = {row[0].strip("| `"): row[1] for row in rows}
    for name, field in ImagesSettings.model_fields.items():
        default = field.default
        shown = str(default).lower() if isinstance(default, int) else f"{default:g}"
        assert shown in defaults[name], name
