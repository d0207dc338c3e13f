"""Runs in the client's pod: asks for one picture with the stock client and prints it.

Address and key are in OPENAI_BASE_URL and OPENAI_API_KEY, where the client looks for them itself. The only argument
holds the arguments of `images.generate` as JSON.
"""

import json
import sys

from openai import OpenAI

asked = json.loads(sys.argv[1])
with OpenAI(max_retries=0, timeout=300) as client:
    answer = client.images.generate(response_format="b64_json", **asked)
assert answer.data is not None
sys.stdout.write(answer.data[0].b64_json or "")
