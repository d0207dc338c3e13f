"""Every path that is answered with pictures: OpenAI's, LocalAI's and GPUStack's."""
