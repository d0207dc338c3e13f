"""What a release is made with: the version, the changelog, the packages and what they depend on."""
