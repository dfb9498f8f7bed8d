"""Pages behind the links of the advisor's letters."""
