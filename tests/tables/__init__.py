"""Tables that tests sweep: ops, layers, refusals. A new op or layer needs a row here and no test of its own."""
