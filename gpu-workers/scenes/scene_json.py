"""Scene graphs as JSON and back, exactly."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from scenes.scene import Scene

_SCENE = TypeAdapter(Scene)


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """The scene as plain JSON values; numbers keep their full precision."""
    return _SCENE.dump_python(scene, mode="json")


def scene_from_json(value: object) -> Scene:
    """The scene that `scene_to_json` wrote.

    Raises:
        ValueError: The value is no scene, or a relation points at a group that is not there.
    """
    try:
        scene = _SCENE.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"not a scene: {error}") from error
    last = len(scene.groups) - 1
    for relation in scene.relations:
        if not (0 <= relation.subject <= last and 0 <= relation.object <= last):
            raise ValueError(f"a relation points outside the {last + 1} groups")
    return scene
