"""What views show, as marks; each mark is drawn in one place for matplotlib and in one for plotly."""
