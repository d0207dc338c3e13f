"""The engine that draws with stable-diffusion.cpp, through the package stable-diffusion-cpp-python."""
