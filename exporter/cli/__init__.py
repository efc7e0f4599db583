"""The commands export, publish, refit and inspect: words to wishes, reports to lines."""
