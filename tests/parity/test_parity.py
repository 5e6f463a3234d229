"""Each scene through livekit-plugins-openai 1.8.9 and through this plugin: the framework is told the same.

What is told otherwise stands in `differences.py`, to the line: a difference that is not on the list fails, and so does
one on the list that is no more.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from . import agent_scenes, session_scenes, stt_scenes
from .agent_stage import agent_stage
from .differences import DIFFERENCES
from .stage import Scene, session_stage
from .stt_stage import stt_stage


async def record_of_a_session(scene: Scene, plugin: str) -> list[str]:
    async with session_stage(scene, plugin) as stage:
        await scene.play(stage)
        return await stage.record()


async def record_of_an_agent(scene: Scene, plugin: str) -> list[str]:
    async with agent_stage(scene, plugin) as stage:
        await scene.play(stage)
        return await stage.record()


async def record_of_an_stt(scene: Scene, plugin: str) -> list[str]:
    async with stt_stage(scene, plugin) as stage:
        await scene.play(stage)
        return await stage.record()


STAGES = {
    **dict.fromkeys(session_scenes.SCENES.values(), record_of_a_session),
    **dict.fromkeys(agent_scenes.SCENES.values(), record_of_an_agent),
    **dict.fromkeys(stt_scenes.SCENES.values(), record_of_an_stt),
}
SCENES = [pytest.param(scene, record, id=scene.name) for scene, record in STAGES.items()]


def only_in(official: list[str], ours: list[str]) -> list[str]:
    """The lines that differ, in order: `- ` those of the official plugin, `+ ` ours."""
    return [line for line in difflib.ndiff(official, ours) if line[:1] in "-+"]


@pytest.mark.parametrize(("scene", "record"), SCENES)
async def test_the_framework_is_told_the_same(scene, record):
    found = only_in(await record(scene, "official"), await record(scene, "ours"))
    listed = [line for each in DIFFERENCES.get(scene.name, ()) for line in _lines(each)]
    for plugin in "-+":  # each in the order in which it tells them
        assert [line for line in found if line[0] == plugin] == [line for line in listed if line[0] == plugin]


def _lines(differs):
    return [*(f"- {line}" for line in differs.official), *(f"+ {line}" for line in differs.ours)]


def test_every_difference_belongs_to_a_scene():
    assert DIFFERENCES.keys() - {scene.name for scene in STAGES} == set()


@pytest.mark.parametrize("page", ["docs/swap.md", "README.md"])
def test_the_pages_for_users_name_the_number_of_scenes(page):
    assert f" {len(STAGES)} scenes" in (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
