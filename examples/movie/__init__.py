"""A film without a director: a wanderer, a grown world and a loop that draws sixty pictures a second."""
