"""From override lines to stored runs."""
