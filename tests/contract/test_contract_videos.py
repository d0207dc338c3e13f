"""Video jobs, as far as a model of pictures goes: it says what it can't do.

Over diffusers alone, since what is said here is said before an engine is asked.
"""

from typing import Any

import pytest

from cluster.waiting import eventually
from contract.models import only_diffusers
from contract.spellings import form_parts
from contract.stack import Model, Part, refusal, succeeded
from pictures import draw
from runtime.picture_files import as_file

pytestmark = only_diffusers

CIRCLE = as_file(draw("red", "circle", "white", size=64))


@pytest.mark.parametrize("files", [(), (("input_reference", ("a.png", CIRCLE)),)], ids=["text", "picture"])
def test_a_job_for_a_model_of_pictures_fails_with_the_reason(plain: Model, files: tuple[tuple[str, Part], ...]) -> None:
    """OpenAI's clients send a form."""
    asked = form_parts({"prompt": "a red circle", "seconds": "4", "size": "1280x720"})
    job = succeeded(plain.post_form("/v1/videos", [*asked, *files])).json()
    assert (job["object"], job["model"], job["status"]) == ("video", "plain", "queued")

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = succeeded(plain.client.get(f"/v1/videos/{job['id']}")).json()
        return found if found["status"] not in {"queued", "in_progress"} else None

    failed = eventually(ended, what="end of the job", timeout=60)
    assert failed["status"] == "failed"
    assert "draws pictures, not clips" in failed["error"]["message"]
    assert refusal(plain.client.get(f"/v1/videos/{job['id']}/content"), 409)["message"]
    assert succeeded(plain.client.delete(f"/v1/videos/{job['id']}")).json()["deleted"] is True
    assert refusal(plain.client.get(f"/v1/videos/{job['id']}"), 404)


def test_localais_path_says_so_at_once(plain: Model) -> None:
    error = refusal(plain.post("/video", prompt="a red circle"))

    assert (error["param"], error["code"]) == ("model", "unsupported")
