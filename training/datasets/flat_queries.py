"""Queries of the three flat files; `flat_files` describes their columns.

Every query uses purchases and redemptions before a row's cut; only the label uses later ones.
"""

from __future__ import annotations

from typing import Final

# `day` is the store's calendar day (the package's times are UTC). A product is in the `mailer` of a week and store if the
# package's promotions give it a place in the printed weekly leaflet; `display` likewise.
PREPARE: Final = """
    CREATE TEMP TABLE offer AS
        SELECT product_id, store_id, week, max((mailer_location <> '0')::INT) AS mailer,
               max((display_location <> '0')::INT) AS display
        FROM promotions SEMI JOIN transactions USING (product_id, store_id, week) GROUP BY ALL;
    CREATE TEMP TABLE product AS
        SELECT product_id, department, brand,
               CASE WHEN product_type ILIKE 'GASOLINE%' THEN 'FUEL' ELSE product_category END AS category
        FROM products;
    CREATE TEMP TABLE line AS
        SELECT t.household_id, t.basket_id, t.product_id, quantity, sales_value, retail_disc,
               (transaction_timestamp AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York')::DATE AS day,
               p.category, p.department, (p.brand = 'Private')::INT AS private,
               coalesce(mailer, 0) AS mailer, coalesce(display, 0) AS display
        FROM transactions t LEFT JOIN product p USING (product_id) LEFT JOIN offer USING (product_id, store_id, week)
        WHERE NOT (quantity = 0 AND sales_value = 0);
    CREATE TEMP TABLE mailing AS
        SELECT household_id, campaign_id, campaign_type, start_date::DATE AS first_day, end_date::DATE AS last_day
        FROM campaigns JOIN campaign_descriptions USING (campaign_id);
    CREATE TEMP TABLE redemption AS
        SELECT household_id, campaign_id, redemption_date::DATE AS day FROM coupon_redemptions;
"""

USERS: Final = """
    WITH history AS (SELECT * FROM line WHERE day < DATE '{cut}'),
    recent AS (SELECT * FROM history WHERE day >= DATE '{cut}' - {window}),
    ever AS (SELECT household_id, DATE '{cut}' - max(day) AS recency_days, DATE '{cut}' - min(day) AS tenure_days,
                    max(day) AS last_purchase_date FROM history GROUP BY ALL),
    behaviour AS (
        SELECT household_id, sum(mailer) AS click_count, count(DISTINCT basket_id) AS purchase_count,
               count(DISTINCT day) AS active_days, count(*) AS line_count, sum(sales_value) AS spend,
               count(DISTINCT basket_id) FILTER (day >= DATE '{cut}' - 30) AS purchase_count_30d,
               sum(retail_disc) / nullif(sum(retail_disc + sales_value), 0) AS discount_share,
               avg(private) AS private_label_share, avg(display) AS display_share, count(DISTINCT category) AS category_count
        FROM recent GROUP BY ALL),
    taste AS (SELECT household_id, department AS preferred_department FROM recent WHERE department IS NOT NULL
              GROUP BY household_id, department
              QUALIFY row_number() OVER (PARTITION BY household_id ORDER BY count(*) DESC, department) = 1),
    exposed AS (
        SELECT household_id, count(DISTINCT day) AS view_duration FROM (
            SELECT household_id, unnest(generate_series(greatest(first_day, DATE '{cut}' - {window}),
                                                        least(last_day, DATE '{cut}' - 1), INTERVAL 1 DAY)) AS day
            FROM mailing WHERE first_day < DATE '{cut}' AND last_day >= DATE '{cut}' - {window}) GROUP BY ALL),
    redeemed AS (SELECT household_id, count(*) AS coupon_count FROM redemption
                 WHERE day < DATE '{cut}' AND day >= DATE '{cut}' - {window} GROUP BY ALL),
    buyer AS (SELECT DISTINCT household_id FROM line WHERE day >= DATE '{cut}' AND day < DATE '{cut}' + {horizon})
    SELECT ever.household_id AS user_id, coalesce(click_count, 0) AS click_count, coalesce(purchase_count, 0) AS purchase_count,
           coalesce(view_duration, 0) AS view_duration, coalesce(purchase_count_30d, 0) AS purchase_count_30d,
           coalesce(active_days, 0) AS active_days, coalesce(line_count, 0) AS line_count,
           round(coalesce(spend, 0), 2) AS spend, round(spend / purchase_count, 2) AS average_basket,
           recency_days, tenure_days, last_purchase_date,
           coalesce(coupon_count, 0) AS coupon_count, round(discount_share, 4) AS discount_share,
           round(private_label_share, 4) AS private_label_share, round(display_share, 4) AS display_share,
           coalesce(category_count, 0) AS category_count, preferred_department,
           age, income, home_ownership, marital_status, household_size, household_comp, kids_count,
           (buyer.household_id IS NOT NULL)::INT AS label
    FROM ever LEFT JOIN behaviour USING (household_id) LEFT JOIN taste USING (household_id)
    LEFT JOIN exposed USING (household_id) LEFT JOIN redeemed USING (household_id)
    LEFT JOIN demographics USING (household_id) LEFT JOIN buyer ON buyer.household_id = ever.household_id
    ORDER BY user_id"""

RECOMMENDATIONS: Final = """
    WITH recent AS (SELECT * FROM line WHERE day < DATE '{cut}' AND day >= DATE '{cut}' - {window} AND category IS NOT NULL),
    pair AS (
        SELECT household_id, category, sum(mailer) AS click_count, count(DISTINCT basket_id) AS purchase_count,
               count(*) AS line_count, sum(sales_value) AS spend, count(DISTINCT product_id) AS product_count,
               DATE '{cut}' - max(day) AS recency_days, avg(private) AS private_label_share,
               (max(day) - min(day)) / nullif(count(DISTINCT day) - 1, 0) AS average_gap_days
        FROM recent GROUP BY ALL),
    household AS (SELECT household_id, count(DISTINCT basket_id) AS user_purchase_count, sum(sales_value) AS user_spend,
                         DATE '{cut}' - max(day) AS user_recency_days FROM recent GROUP BY ALL),
    everyone AS (SELECT category, count(DISTINCT household_id) / (SELECT count(*) FROM household) AS category_reach
                 FROM recent GROUP BY ALL),
    covered AS (SELECT DISTINCT campaign_id, category FROM coupons JOIN product USING (product_id)),
    offered AS (
        SELECT household_id, category, count(DISTINCT day) AS view_duration FROM (
            SELECT household_id, category, unnest(generate_series(greatest(first_day, DATE '{cut}' - {window}),
                                                                  least(last_day, DATE '{cut}' - 1), INTERVAL 1 DAY)) AS day
            FROM mailing JOIN covered USING (campaign_id)
            WHERE first_day < DATE '{cut}' AND last_day >= DATE '{cut}' - {window}) GROUP BY ALL),
    again AS (SELECT DISTINCT household_id, category FROM line WHERE day >= DATE '{cut}' AND day < DATE '{cut}' + {horizon})
    SELECT pair.household_id AS user_id, pair.category, click_count, purchase_count,
           coalesce(view_duration, 0) AS view_duration, line_count, round(spend, 2) AS spend, product_count, recency_days,
           round(average_gap_days, 2) AS average_gap_days, round(private_label_share, 4) AS private_label_share,
           round(purchase_count / user_purchase_count, 4) AS basket_share, user_purchase_count,
           round(user_spend, 2) AS user_spend, user_recency_days, round(category_reach, 4) AS category_reach,
           (again.category IS NOT NULL)::INT AS label
    FROM pair JOIN household USING (household_id) JOIN everyone USING (category)
    LEFT JOIN offered ON offered.household_id = pair.household_id AND offered.category = pair.category
    LEFT JOIN again ON again.household_id = pair.household_id AND again.category = pair.category
    ORDER BY user_id, pair.category"""

ADVERTISING: Final = """
    WITH shown AS (SELECT * FROM mailing WHERE first_day >= DATE '{first}' AND last_day < DATE '{end}'),
    contents AS (SELECT campaign_id, count(DISTINCT coupon_upc) AS coupons, count(DISTINCT product_id) AS products
                 FROM coupons GROUP BY ALL),
    behaviour AS (
        SELECT household_id, campaign_id, count(DISTINCT basket_id) AS purchase_count, sum(sales_value) AS spend,
               count(*) AS line_count, avg(mailer) AS mailer_share,
               sum(retail_disc) / nullif(sum(retail_disc + sales_value), 0) AS discount_share
        FROM shown JOIN line USING (household_id) WHERE day < first_day AND day >= first_day - {window} GROUP BY ALL),
    liked AS (
        SELECT household_id, campaign_id, count(*) AS offered_line_count, count(DISTINCT product_id) AS offered_product_count
        FROM shown JOIN line USING (household_id)
        JOIN (SELECT DISTINCT campaign_id, product_id FROM coupons) USING (campaign_id, product_id)
        WHERE day < first_day AND day >= first_day - {window} GROUP BY ALL),
    latest AS (SELECT household_id, campaign_id, max(day) AS day FROM shown JOIN line USING (household_id)
               WHERE day < first_day GROUP BY ALL),
    clicked AS (
        SELECT s.household_id, s.campaign_id, count(*) AS click_count, count(DISTINCT r.campaign_id) AS campaigns_answered
        FROM shown s JOIN redemption r ON r.household_id = s.household_id AND r.day < s.first_day GROUP BY ALL),
    earlier AS (
        SELECT s.household_id, s.campaign_id, count(*) AS campaigns_received
        FROM shown s JOIN mailing m ON m.household_id = s.household_id AND m.first_day < s.first_day GROUP BY ALL),
    response AS (SELECT DISTINCT household_id, campaign_id FROM redemption)
    SELECT household_id AS user_id, campaign_id AS ad_id, campaign_type, first_day AS start_date,
           coalesce(click_count, 0) AS click_count, coalesce(purchase_count, 0) AS purchase_count,
           last_day - first_day + 1 AS view_duration, coupons AS coupon_count, products AS product_count,
           coalesce(campaigns_received, 0) AS campaigns_received, coalesce(campaigns_answered, 0) AS campaigns_answered,
           coalesce(line_count, 0) AS line_count, round(coalesce(spend, 0), 2) AS spend,
           coalesce(offered_line_count, 0) AS offered_line_count, coalesce(offered_product_count, 0) AS offered_product_count,
           round(mailer_share, 4) AS mailer_share, round(discount_share, 4) AS discount_share,
           first_day - latest.day AS recency_days, age, income, household_size, kids_count,
           (response.campaign_id IS NOT NULL)::INT AS label
    FROM shown LEFT JOIN contents USING (campaign_id)
    LEFT JOIN behaviour USING (household_id, campaign_id) LEFT JOIN liked USING (household_id, campaign_id)
    LEFT JOIN latest USING (household_id, campaign_id) LEFT JOIN clicked USING (household_id, campaign_id)
    LEFT JOIN earlier USING (household_id, campaign_id) LEFT JOIN demographics USING (household_id)
    LEFT JOIN response USING (household_id, campaign_id)
    ORDER BY start_date, ad_id, user_id"""
