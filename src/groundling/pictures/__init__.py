"""Any picture becomes a tensor, and what is found in it becomes pixels again: images, boxes, masks."""
