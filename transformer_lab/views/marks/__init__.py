"""What views show, as marks; each mark is drawn in one place for matplotlib, one for plotly."""
