"""Names of samplers and schedules, read in every spelling of `sampler_table`.

A sampler is the method that takes the noise away; a schedule is the row of noise levels that it goes down. LocalAI
writes both in one name (`k_dpmpp_2m`), and so does AUTOMATIC1111 ("DPM++ 2M Karras"); stable-diffusion.cpp, and with it
GPUStack and sd-api-server, writes two (`dpm++2m` and `karras`). Names are compared without case and punctuation, `+`
being a `p`, so that all of these are one.
"""

import re
from collections.abc import Iterable

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.sampler_table import SAMPLERS, SCHEDULES, Sampler

# What systems call the model's own sampler or schedule; AUTOMATIC1111 has the latter as "Automatic".
_OWN = {"default", "automatic", "auto"}
_SUFFIXES = ("karras", "exponential")


def _plain(name: str) -> str:
    """Return a spelling that is the same for all ways to write a name."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "p"))


_SAMPLERS = {_plain(spelling): sampler for sampler in SAMPLERS for spelling in sampler.spellings}
_SCHEDULES = {_plain(spelling): schedule.name for schedule in SCHEDULES for spelling in schedule.spellings}


def is_sampler(name: str) -> bool:
    """Return whether a name, in any spelling, is one of a sampler."""
    return _split(name)[0] is not None


def is_schedule(name: str) -> bool:
    """Return whether a name, in any spelling, is one of a schedule; `default` is."""
    return _plain(name) in _SCHEDULES.keys() | _OWN


def resolve_sampling(
    sampler: str | None, schedule: str | None, *, fields: tuple[str, str] = ("sampler", "schedule")
) -> tuple[str | None, str | None]:
    """Return the canonical names of what was asked for; None is the model's own, as `default` is.

    `k_` before a sampler, "Karras" or "Exponential" behind one, name a schedule along with it.

    Args:
        sampler: Sampler, in any spelling.
        schedule: Schedule, likewise.
        fields: Fields that they come from, for errors.

    Raises:
        APIError: 400, a name is unknown, or the sampler's name and `schedule` ask for two schedules.
    """
    found: str | None = None
    asked: list[str] = []
    if sampler is not None and _plain(sampler) not in _OWN:
        row, asked = _split(sampler)
        if row is None:
            raise _unknown(fields[0], sampler, (each.name for each in SAMPLERS if each.diffusers or each.sdcpp))
        found = row.name
    if schedule is not None and _plain(schedule) not in _OWN:
        if _plain(schedule) not in _SCHEDULES:
            raise _unknown(fields[1], schedule, (each.name for each in SCHEDULES if each.diffusers or each.sdcpp))
        asked = [*asked, _SCHEDULES[_plain(schedule)]]
    if len(set(asked)) > 1:
        by = f"{sampler!r} and {schedule!r}" if schedule else repr(sampler)
        raise invalid_request(
            fields[0] if sampler else fields[1],
            f"{by}: two schedules are asked for, {' and '.join(dict.fromkeys(asked))}; ask for one.",
            code="conflicting_fields",
        )
    return found, asked[0] if asked else None


def check_sampling(
    sampler: str | None, schedule: str | None, *, samplers: Iterable[str], schedules: Iterable[str]
) -> None:
    """Check that a model has what was asked for.

    Args:
        sampler: Canonical name; None for the model's own.
        schedule: Canonical name, likewise.
        samplers: Samplers of the model.
        schedules: Schedules of the model.

    Raises:
        APIError: 400, the model lacks the sampler or the schedule, or the one takes no heed of the other.
    """
    if sampler is not None:
        _check("sampler", sampler, tuple(samplers))
    if schedule is not None:
        _check("schedule", schedule, tuple(schedules))
        if sampler is not None and _SAMPLERS[_plain(sampler)].fixed and schedule != "discrete":
            raise invalid_request(
                "schedule",
                f"{schedule!r} has no effect on the sampler {sampler}, whose formula fixes the noise levels; leave the "
                "field out, or send another sampler.",
            )


def sampler_rows() -> list[tuple[str, ...]]:
    """Return the samplers for documentation, each as the text of seven cells, empty where a system has no such one.

    The cells: canonical name; name in LocalAI, stable-diffusion.cpp, AUTOMATIC1111; class of diffusers for models that
    predict noise, for flow-matching models; name in the engine sdcpp.
    """
    return [
        (
            row.name,
            row.name if row.localai else "",
            row.ggml or "",
            row.a1111 or "",
            str(row.diffusers or ""),
            row.flow or "",
            row.sdcpp or "",
        )
        for row in SAMPLERS
    ]


def schedule_rows() -> list[tuple[str, ...]]:
    """Return the schedules for documentation, each as the text of five cells, empty where a system has no such one.

    The cells: canonical name, which is stable-diffusion.cpp's; names in AUTOMATIC1111; name in the engine diffusers for
    models that predict noise, for flow-matching models; name in the engine sdcpp.
    """
    return [
        (row.name, ", ".join(row.a1111), *(row.name if has else "" for has in (row.diffusers, row.flow, row.sdcpp)))
        for row in SCHEDULES
    ]


def _split(name: str) -> tuple[Sampler | None, list[str]]:
    """Return the sampler that a name means, and the schedules that it names along with it."""
    plain, asked = _plain(name), []
    for suffix in _SUFFIXES:
        if plain.endswith(suffix):
            plain = plain.removesuffix(suffix)
            asked.append(suffix)
    if plain not in _SAMPLERS and plain.startswith("k"):
        plain = plain[1:]
        asked.append("karras")
    return _SAMPLERS.get(plain), asked


def _check(param: str, name: str, served: tuple[str, ...]) -> None:
    if name not in served:
        remedy = f"send one of {', '.join(served)}" if served else f"leave the field out: it keeps its own {param}"
        raise invalid_request(param, f"{name!r} is not served by this model; {remedy}.")


def _unknown(param: str, name: str, known: Iterable[str]) -> APIError:
    return invalid_request(param, f"{name!r} is not known; send one of {', '.join(known)}.")
