"""A hook that is wrong stops the start with a message that says how to write it."""

import pytest
from parts.plugin_machine import Machine, scores

HOOKS = (
    "longshore_registry, longshore_backend, longshore_resolve_image, longshore_delete_image, "
    "longshore_profile_image, "
    "longshore_profile_node, longshore_plan_hardware, longshore_replan_hardware, "
    "longshore_measure_gpus, longshore_filter_node, longshore_score_node, "
    "longshore_customize_workload, longshore_scale, longshore_expect_calls, "
    "longshore_balancer, longshore_contract, "
    "longshore_authenticate, longshore_on_event, longshore_commands"
)
WRAPPER = "a wrapper, and each decision has one plugin behind it"
BY_KEYWORD = "by keyword only, and arguments come by position"


@pytest.mark.parametrize(
    ("code", "problem", "hint"),
    [
        (
            "@hookimpl\ndef longshore_scale_it(load): ...",
            "there is no hook longshore_scale_it (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "@hookimpl\ndef on_full_moon(): ...",
            "there is no hook on_full_moon (mine.py, line 2)",
            f"Hooks: {HOOKS}.",
        ),
        (
            "@hookimpl(specname='longshore_skale')\ndef scale(load): ...",
            "there is no hook longshore_skale (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "def longshore_skale(load): ...",
            "there is no hook longshore_skale (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "@hookimpl\ndef longshore_scale(version, replica): ...",
            "longshore_scale has no argument 'replica' (mine.py, line 2)",
            "It has: version, load, replicas.",
        ),
        (
            "@hookimpl\ndef longshore_contract(image): ...",
            "longshore_contract has no argument 'image' (mine.py, line 2)",
            "It has: none.",
        ),
        (
            "@hookimpl\ndef longshore_scale(**arguments): ...",
            "longshore_scale has no argument 'arguments' (mine.py, line 2)",
            "It has: version, load, replicas.",
        ),
        (
            "@hookimpl\ndef longshore_scale(version, *, load): ...",
            f"longshore_scale takes 'load' {BY_KEYWORD} (mine.py, line 2)",
            "Take away the * before it.",
        ),
        (
            "def longshore_scale(version): ...",
            "longshore_scale is not marked as a hook (mine.py, line 2)",
            "Put @longshore.hookimpl above it.",
        ),
        (
            "class Plugin:\n    def longshore_scale(self, version): ...",
            "longshore_scale is not marked as a hook (mine.py, line 3)",
            "Put @longshore.hookimpl above it.",
        ),
        (
            "@hookimpl(wrapper=True)\ndef longshore_scale(version): yield",
            f"longshore_scale is {WRAPPER} (mine.py, line 2)",
            "Write @longshore.hookimpl without wrapper=True.",
        ),
        (
            "@hookimpl(hookwrapper=True)\ndef longshore_scale(version): yield",
            f"longshore_scale is {WRAPPER} (mine.py, line 2)",
            "Write @longshore.hookimpl without wrapper=True.",
        ),
        (
            "@hookimpl\nasync def longshore_registry(settings): ...",
            "longshore_registry cannot be async (mine.py, line 2)",
            "Write def instead of async def.",
        ),
        (
            "import os",
            "it implements no hook",
            f"Put @longshore.hookimpl above a function that has a hook's name: {HOOKS}.",
        ),
    ],
)
def test_wrong_hooks(machine: Machine, code: str, problem: str, hint: str) -> None:
    machine.write("mine.py", f"from longshore import hookimpl\n{code}\n")
    told = machine.refusal('[[plugin]]\nname = "mine"\npath = "mine.py"\n')
    assert told == f"plugins.toml, line 2: plugin 'mine' (mine.py): {problem}\n{hint}"


def test_async_hooks_methods_of_all_kinds_and_fewer_arguments_are_fine(machine: Machine) -> None:
    code = """
    from longshore import hookimpl

    class Plugin:
        @hookimpl
        async def longshore_on_event(self, event): ...

        @staticmethod
        @hookimpl
        def longshore_score_node(node): return 1

        @hookimpl(specname="longshore_scale")
        def scale(self, version): ...

        @property
        def longshore_trap(self): raise RuntimeError("looked at")
    """
    machine.write("mine.py", code)
    plugins = machine.start('[[plugin]]\npath = "mine.py"\n')
    assert plugins.loaded[0].hooks == (
        "longshore_score_node", "longshore_scale", "longshore_on_event"
    )  # fmt: skip
    assert scores(plugins) == [("mine", 1)]
