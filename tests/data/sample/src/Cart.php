<?php

class Cart
{
    /**
     * Gets the price of all items, with tax.
     *
     * @return float
     */
    public function total(float $tax): float
    {
        $sum = array_sum(array_column($this->items, 'price'));
        return $sum * (1 + $tax);
    }
}
