"""What is tested by mutation: modules, and the tests that must notice a fault in them.

The tests of a group are the ones that are about its modules, and quick: a mutant costs what those of them cost that
reach the mutated function, up to the first that fails. A fault that only a slow or distant test would find counts as
not found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that the same tests must watch.

    Attributes:
        name: Of the group, and of the folder that its mutants lie in.
        modules: Their paths in the repository.
        tests: Paths of test files.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _group(name: str, room: str, modules: str, tests: str) -> Group:
    return Group(
        name,
        tuple(f"trunkline/{room}/{module}.py" for module in modules.split()),
        tuple(f"tests/{_placed(test, room)}.py" for test in tests.split()),
    )


def _placed(test: str, room: str) -> str:
    """Return where a test is: in the room of what it tests, unless it names another."""
    place, _, name = test.rpartition("/")
    return f"{place or room}/test_{name}"


GROUPS: tuple[Group, ...] = (
    _group(
        "lowering",
        "sharing",
        "join_check columns view shortcut space lowering/lower lowering/walk lowering/backbone_cells lowering/reader "
        "lowering/numbering lowering/emission lowering/stored_weights lowering/executed_cost cost_table",
        "lowering_properties shortcuts_properties joins_properties joins_abuse views_parity plan_abuse "
        "supermodel/sampling_golden supermodel/expected_tree_properties cost_table_abuse",
    ),
    _group(
        "search",
        "supermodel",
        "decision workload option_costs expected_cost expected_tree choices choice_policy choice_model temperature "
        "curriculum methods/searched methods/automtl methods/bmtas methods/learn_to_branch methods/adashare "
        "methods/retrained methods/cross_stitch",
        "methods_properties bmtas_golden cross_stitch_golden adashare_golden relaxations_properties "
        "open_joins_properties views_properties view_statistics_properties sampling_golden cost_terms_properties "
        "automtl_golden automtl_options mixed_properties expected_tree_properties learn_to_branch_golden",
    ),
    _group(
        "train",
        "train",
        "loop/runner loop/step loop/evaluate loop/optimisers loop/checkpointer loop/phase_state",
        "runner_steps runner_resume runner_search runner_folder components_parity missing_labels_properties",
    ),
    _group(
        "parity",
        "export",
        "parity/check parity/tolerance parity/reference parity/locate",
        "parity parity_golden runtime_precision_parity",
    ),
    _group(
        "bench",
        "bench",
        "statistics stability compare models unit_times",
        "bench_statistics bench_stability bench_protocol bench_models unit_times",
    ),
    _group(
        "verbs",
        "verbs",
        "train search bench run work training",
        "search_numbers bench_run_golden trained_alike work_golden baselines_golden cli/cli_start_from_search",
    ),
    _group(
        "pipeline",
        "pipeline",
        "project config kind_tables inner_tables preset moved run_identity task_check",
        "verbs/search_numbers verbs/trained_alike verbs/baselines_golden presets_golden moved_abuse kind_tables_abuse "
        "new_kinds",
    ),
)
